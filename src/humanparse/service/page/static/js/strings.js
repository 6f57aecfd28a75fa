// All texts of the page in English and Chinese, and the names of body parts and garments.

import { texts } from './api.js';
import { recall, remember } from './memory.js';

const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;

const EN = {
  title: 'humanparse: who is where, part by part',
  headline: 'See who is where, part by part.',
  intro: 'Drop in a photo to see every person’s body parts and garments outlined, pixel by pixel.',
  choose: 'Choose photos',
  camera: 'Take a photo',
  sample: 'Try the sample',
  hint: 'You can also drop photos anywhere on this page, or paste one.',
  privacy: 'Photos are sent only to this server and are not stored.',
  privacyHere: 'Photos never leave this device: the model runs in your browser.',
  sampleCredit: 'Photo: NASA',
  drop: 'Drop to parse',
  add: 'Add photos',
  docs: 'API',
  theme: 'Light or dark',
  language: '中文',
  languageLabel: 'Switch to Chinese',
  model: 'Model',
  skip: 'Skip to the result',

  stage: 'Photo. Press plus or minus to zoom, arrow keys to move, and 0 to see the whole photo.',
  view: 'View',
  overlay: 'Overlay',
  colours: 'Colours',
  outlines: 'Outlines',
  original: 'Photo',
  opacity: 'Opacity',
  compare: 'Compare',
  divider: 'Divider between photo and result',
  zoomIn: 'Zoom in',
  zoomOut: 'Zoom out',
  zoomFit: 'Show the whole photo',
  before: 'Photo',
  after: 'Result',
  noPreview:
    'This browser cannot show photos in this format, so you see only the colours. They are exact.',

  found: (people, parts) => `${many(people, 'person', 'people')}, ${many(parts, 'part', 'parts')}`,
  nobody: 'Nobody found',
  noResult: 'No result yet',
  nobodyHint:
    'People who are small, cut off or in the dark are easily missed. Try a larger photo of them.',
  people: 'People',
  everyone: 'Everyone',
  person: (id) => `Person ${id}`,
  noPerson: 'Belongs to nobody',
  sure: (score) => `${score} sure`,
  ofPerson: (share) => `${share} of this person`,
  parts: 'Parts',
  colourBy: 'Colour by',
  byPart: 'part',
  byPerson: 'person',
  all: 'All',
  none: 'None',
  only: (name) => `Only ${name}`,
  share: (share) => `${share} of everything coloured`,
  ownSide: 'Left and right are from the person’s own point of view.',
  table: 'As a table',
  part: 'Part',
  score: 'Score',
  area: 'Area',
  label: 'Label',

  edit: 'Edit',
  edited: 'Edited',
  editWhat: 'What',
  editWhere: 'Where',
  editColour: 'Colour',
  editStrength: 'Strength',
  editApply: 'Apply',
  editBlur: 'Blur',
  editPixelate: 'Pixelate',
  editFill: 'Fill with a colour',
  editRecolour: 'Recolour',
  editCutout: 'Cut out',
  editBehindBlur: 'Blur the background',
  editBehindColour: 'Background in a colour',
  editFace: 'Face',
  editHead: 'Head',
  editHair: 'Hair',
  editUpper: 'Upper clothes',
  editLower: 'Lower clothes',
  editClothes: 'All clothes',
  editPerson: 'Whole person',
  editAll: 'This is for everyone. For one person, choose one of the people above.',
  editOne: (id) => `This is for person ${id} alone, who is chosen above.`,
  editing: 'Editing …',
  editDone: 'Done. The view “Edited” shows it.',
  editMissing: (region) => `${region}: not found.`,
  editMissingOn: (region, ids) =>
    `${region}: not found on ${ids.length === 1 ? 'person' : 'people'} ${ids.join(', ')}.`,
  editCareful: 'What is not found stays visible. Look well before you share it.',

  take: 'Download',
  asShown: 'As shown',
  everything: 'Everything found',
  fileOverlay: 'Overlay',
  fileOutlines: 'Outlines',
  fileColormap: 'Colour map',
  fileCutout: 'Cut-out',
  fileLabels: 'Label map',
  fileJson: 'JSON',
  fileCoco: 'COCO',
  download: (name, kind) => `Download ${name}, ${kind}`,
  zip: (count) => `${many(count, 'result', 'results')} as zip`,
  working: 'Preparing the files …',
  fileFailed: 'This browser could not make that file. The photo may be too large for it.',
  code: 'The same in code',
  copy: 'Copy',
  copied: 'Copied',
  copyFailed: 'Copying is not allowed here. Select the text and copy it yourself.',

  sending: (share) => `Sending, ${share}`,
  parsing: 'Parsing …',
  queued: (seconds) => `In the queue, about ${seconds} s …`,
  waiting: 'Waiting …',
  opening: 'Opening …',
  cancel: 'Cancel',
  cancelled: 'Cancelled',
  again: 'Try again',
  againIn: (seconds) => `Try again (${seconds})`,
  shrink: 'Shrink and try again',
  other: 'Choose another photo',
  details: 'Details',
  photos: 'Photos',
  remove: (name) => `Remove ${name}`,
  more: 'Add photos',
  stateWaiting: 'waiting',
  stateSending: 'sending',
  stateParsing: 'parsing',
  stateDone: 'done',
  stateFailed: 'failed',
  stateCancelled: 'cancelled',
  timeUpload: 'sent',
  timeQueue: 'queued',
  timeParse: 'parsed',
  timeShow: 'drawn',
  timeKnown: 'from the cache',
  sheet: 'Larger or smaller list',

  clipHint: 'Clips work, too: people are followed from frame to frame.',
  clipFirst: 'Close the clip first.',
  noClips: 'Clips cannot be parsed here.',
  clipOriginal: 'Clip',
  sideBySide: 'Side by side',
  play: 'Play or pause',
  clipTime: 'Place in the clip',
  frames: (done) => many(done, 'frame', 'frames'),
  framesOf: (done, total) => `${done} of ${many(total, 'frame', 'frames')},`,
  left: (seconds) => `about ${seconds} s left`,
  peopleInClip: (count) => many(count, 'person', 'people'),
  visible: (times) => `Visible ${times}`,
  endsEarly: 'The clip breaks off; this is what came before',
  fileClip: 'Overlay clip',
  fileFrames: 'Every frame',
  fileTracks: 'People',

  cameraTitle: 'Take a photo',
  live: 'Live view',
  liveRate: (rate) => `${rate} frames a second`,
  capture: 'Capture',
  close: 'Close',
  flip: 'Other camera',
  cameraFailed: 'The camera is not available. Allow it for this page, or choose a photo.',
  tokenTitle: 'A token is needed',
  tokenText: 'This server requires a token. The token is kept until you close this tab.',
  tokenWrong: 'The server did not accept that token.',
  token: 'Token',
  tokenSend: 'Continue',
  notFile: 'That was a link, not a picture. Save the picture first, then drop the file.',

  problems: {
    network: [
      'The server cannot be reached',
      'It may have stopped, or the network may be down. Your photo is still here.',
    ],
    bad_answer: [
      'The response cannot be read',
      'Something between this page and the server has changed it. Try again.',
    ],
    bad_request: [
      'The server could not read the request',
      'Try again. If that does not help, try another photo.',
    ],
    unauthorized: ['A token is needed', 'This server requires a token.'],
    bad_option: [
      'This edit is not possible',
      'Choose another one. The details say what the server expects.',
    ],
    request_timeout: [
      'Sending took too long',
      'The connection is slow or was interrupted. Try again, or use a smaller photo.',
    ],
    body_too_large: [
      'The file is too large',
      'This server does not accept files this large. A smaller copy gives almost the same result.',
    ],
    image_too_large: [
      'The photo has too many pixels',
      'This server does not accept photos this large. A smaller copy gives almost the same result.',
    ],
    unsupported_media_type: [
      'This is not a picture',
      'Choose a photo: JPEG, PNG, WebP, TIFF, BMP or GIF.',
    ],
    not_an_image: [
      'This is not a picture',
      'The file is not a picture, or its format is not supported. Choose a JPEG, PNG or WebP.',
    ],
    broken_image: [
      'The picture is damaged',
      'The file is incomplete or has wrong content. Save it again, or choose another one.',
    ],
    refused_image: [
      'This picture will not be tried again',
      'It has crashed the parser twice. Other photos work as before.',
    ],
    not_a_video: [
      'This is not a clip',
      'The file is not a clip, or its format is not supported. Choose an MP4, MOV or WebM.',
    ],
    broken_video: [
      'The clip is damaged',
      'The file is incomplete or has wrong content. Save it again, or choose another one.',
    ],
    video_too_large: [
      'The clip is too large or too long',
      'This server does not accept clips this large. Cut it, or save it in a smaller size.',
    ],
    storage_full: ['The server has no space left', 'Try again later, or ask its operator.'],
    unknown_model: [
      'That model is no longer available',
      'Choose another model above, or try again with the one that is selected now.',
    ],
    unknown_host: [
      'This address is not accepted',
      'Open the page as localhost, or ask the operator of the server to allow this name.',
    ],
    foreign_page: [
      'The request came from another site',
      'Open this server’s own page and try again.',
    ],
    header_too_large: [
      'The server could not read the request',
      'Its headers are too long, perhaps because of large cookies. Delete them and try again.',
    ],
    too_many_connections: [
      'The server is busy',
      'Too many visitors are connected. The photo will be sent again automatically.',
    ],
    queue_full: [
      'The server is busy',
      'Many photos are waiting. Yours will be sent again automatically.',
    ],
    not_ready: ['The server is starting', 'The photo will be sent again automatically.'],
    shutting_down: ['The server is restarting', 'The photo will be sent again automatically.'],
    worker_crashed: [
      'The parser crashed',
      'It is being restarted. The photo will be sent again automatically.',
    ],
    deadline_exceeded: [
      'Parsing took too long',
      'The server stopped working on this photo. A smaller one is faster.',
    ],
    internal_error: [
      'Something went wrong on the server',
      'Your photo is not the cause. Try again, or look into the server’s log.',
    ],
  },
};

const ZH = {
  title: 'humanparse：谁在哪里，逐部位解析',
  headline: '看清每个人，每一个部位。',
  intro: '放入一张照片，即可看到每个人的身体部位和衣物的轮廓，精确到像素。',
  choose: '选择照片',
  camera: '拍照',
  sample: '试用示例',
  hint: '也可以把照片拖到页面任意位置，或直接粘贴。',
  privacy: '照片只发送到这台服务器，不会保存。',
  privacyHere: '照片不会离开本设备：模型在您的浏览器中运行。',
  sampleCredit: '照片：NASA',
  drop: '松开即开始解析',
  add: '添加照片',
  docs: '接口',
  theme: '浅色或深色',
  language: 'English',
  languageLabel: '切换到英文',
  model: '模型',
  skip: '跳到结果',

  stage: '照片。按加号或减号缩放，按方向键移动，按 0 显示全图。',
  view: '视图',
  overlay: '叠加',
  colours: '色图',
  outlines: '轮廓',
  original: '原图',
  opacity: '不透明度',
  compare: '对比',
  divider: '原图与结果之间的分隔线',
  zoomIn: '放大',
  zoomOut: '缩小',
  zoomFit: '显示全图',
  before: '原图',
  after: '结果',
  noPreview: '此浏览器无法显示这种格式的照片，因此只显示颜色。解析结果是准确的。',

  found: (people, parts) => `${people} 个人，${parts} 个部位`,
  nobody: '没有找到人',
  noResult: '还没有结果',
  nobodyHint: '人物太小、被截断或光线太暗时容易漏检。请换一张人物更大的照片。',
  people: '人物',
  everyone: '所有人',
  person: (id) => `人物 ${id}`,
  noPerson: '不属于任何人',
  sure: (score) => `置信度 ${score}`,
  ofPerson: (share) => `占此人 ${share}`,
  parts: '部位',
  colourBy: '着色',
  byPart: '按部位',
  byPerson: '按人物',
  all: '全选',
  none: '全不选',
  only: (name) => `只看${name}`,
  share: (share) => `占全部着色区域的 ${share}`,
  ownSide: '左右以人物自身为准。',
  table: '以表格显示',
  part: '部位',
  score: '置信度',
  area: '面积',
  label: '标签',

  edit: '编辑',
  edited: '编辑后',
  editWhat: '操作',
  editWhere: '范围',
  editColour: '颜色',
  editStrength: '强度',
  editApply: '应用',
  editBlur: '模糊',
  editPixelate: '马赛克',
  editFill: '填充颜色',
  editRecolour: '换颜色',
  editCutout: '抠图',
  editBehindBlur: '模糊背景',
  editBehindColour: '纯色背景',
  editFace: '脸',
  editHead: '头部',
  editHair: '头发',
  editUpper: '上装',
  editLower: '下装',
  editClothes: '全部衣物',
  editPerson: '整个人',
  editAll: '对所有人生效。如只编辑一个人，请在上方选择。',
  editOne: (id) => `只对上方选中的人物 ${id} 生效。`,
  editing: '正在编辑…',
  editDone: '完成。可在“编辑后”视图中查看。',
  editMissing: (region) => `${region}：没有找到。`,
  editMissingOn: (region, ids) => `${region}：在人物 ${ids.join('、')} 身上没有找到。`,
  editCareful: '没有找到的人和部位仍然可见。分享之前请仔细查看。',

  take: '下载结果',
  asShown: '与当前显示一致',
  everything: '全部结果',
  fileOverlay: '叠加图',
  fileOutlines: '轮廓图',
  fileColormap: '色图',
  fileCutout: '抠图',
  fileLabels: '标签图',
  fileJson: 'JSON',
  fileCoco: 'COCO',
  download: (name, kind) => `下载${name}，${kind}`,
  zip: (count) => `${count} 个结果（zip）`,
  working: '正在准备文件…',
  fileFailed: '此浏览器无法生成该文件，照片可能太大。',
  code: '用代码得到同样的结果',
  copy: '复制',
  copied: '已复制',
  copyFailed: '此处不允许复制。请选中文字后自行复制。',

  sending: (share) => `正在发送 ${share}`,
  parsing: '正在解析…',
  queued: (seconds) => `排队中，约 ${seconds} 秒…`,
  waiting: '等待中…',
  opening: '正在打开…',
  cancel: '取消',
  cancelled: '已取消',
  again: '重试',
  againIn: (seconds) => `重试（${seconds}）`,
  shrink: '缩小后重试',
  other: '换一张照片',
  details: '详情',
  photos: '照片',
  remove: (name) => `移除 ${name}`,
  more: '添加照片',
  stateWaiting: '等待中',
  stateSending: '发送中',
  stateParsing: '解析中',
  stateDone: '完成',
  stateFailed: '失败',
  stateCancelled: '已取消',
  timeUpload: '发送',
  timeQueue: '排队',
  timeParse: '解析',
  timeShow: '绘制',
  timeKnown: '来自缓存',
  sheet: '放大或缩小列表',

  clipHint: '也支持视频：逐帧跟踪每个人。',
  clipFirst: '请先关闭视频。',
  noClips: '此处无法解析视频。',
  clipOriginal: '原视频',
  sideBySide: '并排',
  play: '播放或暂停',
  clipTime: '播放位置',
  frames: (done) => `${done} 帧`,
  framesOf: (done, total) => `${done}/${total} 帧，`,
  left: (seconds) => `还需约 ${seconds} 秒`,
  peopleInClip: (count) => `${count} 个人`,
  visible: (times) => `出现时间 ${times}`,
  endsEarly: '视频不完整；以下是中断之前的结果',
  fileClip: '叠加视频',
  fileFrames: '逐帧结果',
  fileTracks: '人物',

  cameraTitle: '拍照',
  live: '实时画面',
  liveRate: (rate) => `每秒 ${rate} 帧`,
  capture: '拍摄',
  close: '关闭',
  flip: '切换摄像头',
  cameraFailed: '无法使用摄像头。请允许本页使用摄像头，或直接选择照片。',
  tokenTitle: '需要令牌',
  tokenText: '此服务器需要令牌。令牌只保留到您关闭此标签页为止。',
  tokenWrong: '服务器没有接受该令牌。',
  token: '令牌',
  tokenSend: '继续',
  notFile: '这是链接，不是图片。请先保存图片，再把文件拖进来。',

  problems: {
    network: ['无法连接服务器', '服务器可能已停止，或网络可能已中断。您的照片仍在这里。'],
    bad_answer: ['无法读取响应', '响应在途中被改动了。请重试。'],
    bad_request: ['服务器无法读取请求', '请重试。如果仍然失败，请换一张照片。'],
    unauthorized: ['需要令牌', '此服务器需要令牌。'],
    bad_option: ['无法进行这项编辑', '请选择其他编辑。详情说明了服务器的要求。'],
    request_timeout: ['发送时间过长', '网络太慢或曾经中断。请重试，或使用小一些的照片。'],
    body_too_large: ['文件太大', '服务器不接受这么大的文件。缩小后的照片结果几乎相同。'],
    image_too_large: ['照片像素太多', '服务器不接受这么大的照片。缩小后的照片结果几乎相同。'],
    unsupported_media_type: ['这不是图片', '请选择照片：JPEG、PNG、WebP、TIFF、BMP 或 GIF。'],
    not_an_image: ['这不是图片', '文件不是图片，或其格式不受支持。请选择 JPEG、PNG 或 WebP。'],
    broken_image: ['图片已损坏', '文件不完整，或内容有误。请重新保存或导出，或换一张图片。'],
    refused_image: ['不再尝试这张图片', '它曾两次使解析程序崩溃。其他照片不受影响。'],
    not_a_video: ['这不是视频', '文件不是视频，或其格式不受支持。请选择 MP4、MOV 或 WebM。'],
    broken_video: ['视频已损坏', '文件不完整，或内容有误。请重新保存或导出，或换一个视频。'],
    video_too_large: ['视频太大或太长', '服务器不接受这么大的视频。请剪短，或以较小的尺寸保存。'],
    storage_full: ['服务器空间已满', '请稍后重试，或联系管理员。'],
    unknown_model: ['该模型已不可用', '请在上方选择其他模型，或用当前选中的模型重试。'],
    unknown_host: ['不接受此地址', '请通过 localhost 打开页面，或请服务器管理员允许该主机名。'],
    foreign_page: ['请求来自其他网站', '请直接打开本服务器的页面后重试。'],
    header_too_large: [
      '服务器无法读取请求',
      '请求头太长，可能是 Cookie 过大。请删除 Cookie 后重试。',
    ],
    too_many_connections: ['服务器繁忙', '连接的访客太多。照片稍后会自动重新发送。'],
    queue_full: ['服务器繁忙', '有许多照片在等待。您的照片稍后会自动重新发送。'],
    not_ready: ['服务器正在启动', '照片稍后会自动重新发送。'],
    shutting_down: ['服务器正在重启', '照片稍后会自动重新发送。'],
    worker_crashed: ['解析程序崩溃', '解析程序正在重启。照片稍后会自动重新发送。'],
    deadline_exceeded: ['解析耗时过长', '服务器已停止处理这张照片。小一些的照片会更快。'],
    internal_error: ['服务器出错', '原因不在照片。请重试，或查看服务器日志。'],
  },
};

const LABELS_ZH = {
  Background: '背景',
  Hat: '帽子',
  Hair: '头发',
  Glove: '手套',
  Sunglasses: '太阳镜',
  UpperClothes: '上衣',
  Dress: '连衣裙',
  Coat: '外套',
  Socks: '袜子',
  Pants: '裤子',
  Jumpsuits: '连体裤',
  'Torso-skin': '躯干皮肤',
  Scarf: '围巾',
  Skirt: '半身裙',
  Face: '脸',
  'Left-arm': '左臂',
  'Right-arm': '右臂',
  'Left-leg': '左腿',
  'Right-leg': '右腿',
  'Left-shoe': '左鞋',
  'Right-shoe': '右鞋',
  Head: '头部',
  Torso: '躯干',
  'Upper-arm': '上臂',
  'Lower-arm': '前臂',
  'Upper-leg': '大腿',
  'Lower-leg': '小腿',
  'Cap/hat': '帽子',
  Helmet: '头盔',
  'Left-hand': '左手',
  'Right-hand': '右手',
  Protector: '护具',
  'Bikini/bra': '比基尼／胸衣',
  'Jacket/windbreaker/hoodie': '夹克／风衣／连帽衫',
  'Tee-shirt': 'T 恤',
  'Polo-shirt': 'Polo 衫',
  Sweater: '毛衣',
  Singlet: '背心',
  'Shorts/swim-shorts': '短裤／泳裤',
  Stockings: '长袜',
  'Left-boot': '左靴',
  'Right-boot': '右靴',
  'Left-highheel': '左高跟鞋',
  'Right-highheel': '右高跟鞋',
  'Left-sandal': '左凉鞋',
  'Right-sandal': '右凉鞋',
  'Left-foot': '左脚',
  'Right-foot': '右脚',
  Robe: '长袍',
  Jumpsuit: '连体裤',
  'Other-full-body-clothes': '其他全身服装',
  Headwear: '头饰',
  Backpack: '背包',
  Ball: '球',
  Bats: '球棒',
  Belt: '腰带',
  Bottle: '瓶子',
  Carrybag: '手提袋',
  Cases: '箱子',
  Eyewear: '眼镜',
  Umbrella: '雨伞',
  'Wallet/purse': '钱包',
  Watch: '手表',
  Wristband: '腕带',
  Tie: '领带',
  'Other-accessary': '其他配饰',
  'Other-upper-body-clothes': '其他上装',
  'Other-lower-body-clothes': '其他下装',
};

const LABELS_EN = { UpperClothes: 'Upper clothes', 'Other-accessary': 'Other accessory' };

const WORDS = { en: withOthers(EN, texts.en), zh: withOthers(ZH, texts.zh) };

/** Return the texts, with those in their place that the source of results has for itself. */
function withOthers(words, others) {
  return { ...words, ...others, problems: { ...words.problems, ...others.problems } };
}

let language = recall('language') || (navigator.language.startsWith('zh') ? 'zh' : 'en');

export const currentLanguage = () => language;

export function switchLanguage() {
  language = language === 'zh' ? 'en' : 'zh';
  remember('language', language);
  translatePage();
}

/** Return a text by its name; some texts take values to fill in. */
export function t(name, ...values) {
  const text = WORDS[language === 'zh' ? 'zh' : 'en'][name];
  return typeof text === 'function' ? text(...values) : text;
}

/** Return [title, advice] for a problem's code. */
export const problemText = (code) => t('problems')[code] || t('problems').internal_error;

/** Return the codes of the problems that have their own texts. */
export const problemCodes = () => Object.keys(WORDS.en.problems);

/** Return what is missing in one of the languages: texts, problems, and these labels in Chinese. */
export function untranslated(labels) {
  const lacking = (one, other) => Object.keys(one).filter((name) => !(name in other));
  const { en, zh } = WORDS;
  return [
    ...lacking(en, zh),
    ...lacking(zh, en),
    ...lacking(en.problems, zh.problems),
    ...lacking(zh.problems, en.problems),
    ...labels.filter((label) => !LABELS_ZH[label]),
  ];
}

/** Return a label in words: "Left arm" or 左臂 for "Left-arm". */
export function labelName(label) {
  if (language === 'zh') return LABELS_ZH[label] || label;
  return LABELS_EN[label] || label.replaceAll('-', ' ');
}

/** Return "12%" for 0.123; a share below one percent, but not zero, is "<1%". */
export function percent(share) {
  const number = new Intl.NumberFormat(language === 'zh' ? 'zh-CN' : 'en', { style: 'percent' });
  return share > 0 && share < 0.01 ? `<${number.format(0.01)}` : number.format(share);
}

export const integer = (value) =>
  new Intl.NumberFormat(language === 'zh' ? 'zh-CN' : 'en').format(value);

export const milliseconds = (value) =>
  value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;

/** Put the texts into index.html.
 *
 * data-t names an element's text, data-t-label its accessible name and tooltip.
 */
export function translatePage() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = t('title');
  for (const element of document.querySelectorAll('[data-t]'))
    element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll('[data-t-label]')) {
    element.setAttribute('aria-label', t(element.dataset.tLabel));
    element.title = t(element.dataset.tLabel);
  }
}
