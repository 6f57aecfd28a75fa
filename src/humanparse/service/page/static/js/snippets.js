// The code that gives the same result in a shell, in Python and in JavaScript.

import { token } from './api.js';
import { served } from './dom.js';
import { state } from './state.js';

export function curl(picture) {
  const words = ['curl'];
  if (token()) words.push('-H "Authorization: Bearer $HUMANPARSE_TOKEN"');
  words.push(`-F ${shell(`image=@${formName(fileName(picture))}`)}`);
  if (isNamed(picture)) words.push(`-F ${shell(`model=${picture.model.name}`)}`);
  words.push(shell(new URL('parse', document.baseURI).href));
  return words.join(' ');
}

export function python(picture) {
  const model = isNamed(picture) ? JSON.stringify(picture.model.name) : '';
  return [
    'from humanparse import HumanParser',
    '',
    `result = HumanParser(${model}).parse(${JSON.stringify(fileName(picture))})`,
    'for person in result.people:',
    '    print(person.id, list(person.parts))',
    'result.save("results")',
  ].join('\n');
}

export function javascript() {
  const library = JSON.stringify(new URL('humanparse.js', document.baseURI).href);
  return [
    `import { HumanParser } from ${library};`,
    '',
    'const parser = await HumanParser.load();',
    'const parsing = await parser.parse(photo); // a File or Blob',
    'for (const person of parsing.people) {',
    '  console.log(person.id, person.parts.map((part) => part.label));',
    '}',
  ].join('\n');
}

/** Whether the model must be named because it is not the default. */
const isNamed = (picture) => !served || picture.model.name !== state.models[0].name;

/** Return the name on the visitor's disk, where another picture may have the same. */
const fileName = (picture) => picture.file.name || picture.name;

const shell = (word) =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** Quote a file's name for curl, which otherwise ends it at "," and ";". */
const formName = (name) => (/[",;\\]/.test(name) ? `"${name.replace(/["\\]/g, '\\$&')}"` : name);
