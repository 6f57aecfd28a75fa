// What the page says differently where no server is: see strings.js.

export const texts = {
  en: {
    loading: (share) => `Loading the model, ${share}`, // on the welcome page
    sending: (share) => `Loading the model, ${share}`, // over a photo that waits for it
    stateSending: 'loading',
    timeQueue: 'waited',
    shrunk: ({ width, height }) =>
      `Shrunk from ${width} × ${height} first, so that this browser’s memory suffices.`,
    problems: {
      network: [
        'The model cannot be loaded',
        'The network may be down, or files of this site may be missing. Your photo is still here.',
      ],
      broken_model: [
        'The model cannot be opened',
        'Its file is damaged, or does not fit this page. Try again, or reload the page.',
      ],
      unsupported_browser: [
        'This browser cannot run the model',
        'It needs WebAssembly with SIMD: Chrome or Edge 123, Firefox 128, Safari 17.5 or later.',
      ],
      body_too_large: [
        'The file is too large',
        'This page does not open files this large. A smaller copy gives almost the same result.',
      ],
      image_too_large: [
        'The photo has too many pixels',
        'It would need more memory than a page may take. Make it smaller, or choose another one.',
      ],
      broken_image: [
        'The picture cannot be read',
        'It is damaged, or this browser does not read its format (HEIC, say). Save it as JPEG.',
      ],
      bad_answer: ['The result cannot be read', 'Try again, or reload the page.'],
      internal_error: [
        'Something went wrong in this browser',
        'Its memory may be full. Try again, reload the page, or choose a smaller photo.',
      ],
    },
  },
  zh: {
    loading: (share) => `正在加载模型 ${share}`,
    sending: (share) => `正在加载模型 ${share}`,
    stateSending: '加载中',
    timeQueue: '等待',
    shrunk: ({ width, height }) => `原图为 ${width} × ${height}，已先缩小，以免浏览器内存不足。`,
    problems: {
      network: ['无法加载模型', '网络可能已中断，或本站缺少文件。您的照片仍在这里。'],
      broken_model: ['无法打开模型', '模型文件已损坏，或与本页版本不符。请重试，或重新加载页面。'],
      unsupported_browser: [
        '此浏览器无法运行模型',
        '需要支持 SIMD 的 WebAssembly：Chrome 或 Edge 123、Firefox 128、Safari 17.5 及以上版本。',
      ],
      body_too_large: ['文件太大', '本页不打开这么大的文件。缩小后的照片结果几乎相同。'],
      image_too_large: ['照片像素太多', '所需内存超出网页的限度。请缩小后再试，或换一张照片。'],
      broken_image: [
        '无法读取图片',
        '图片已损坏，或此浏览器不支持其格式（多数浏览器不支持 HEIC）。请另存为 JPEG 或 PNG。',
      ],
      bad_answer: ['无法读取结果', '请重试，或重新加载页面。'],
      internal_error: [
        '浏览器中出错',
        '内存可能不足。请重试、重新加载页面，或换一张小一些的照片。',
      ],
    },
  },
};
