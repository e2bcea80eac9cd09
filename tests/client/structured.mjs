// node structured.mjs SAMPLES.jsonl: validates what hearth-structured-samples wrote with ajv, another implementation of
// JSON Schema 2020-12. Each line: {"schema", "text", "complete"}. Every complete text must be valid.
import { readFileSync } from 'node:fs'
import Ajv2020 from 'ajv/dist/2020.js'

const isLeap = (year) => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
const days = (year, month) => [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
const isDate = (text) => {
  const found = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text)
  if (!found) return false
  const [year, month, day] = found.slice(1).map(Number)
  return month >= 1 && month <= 12 && day >= 1 && day <= days(year, month)
}
const isTime = (text) => {
  const found = /^(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-](\d\d):(\d\d))$/.exec(text)
  return !!found && found[1] < 24 && found[2] < 60 && found[3] < 60 && !(found[6] > 23) && !(found[7] > 59)
}
const isHost = (text) =>
  text.length <= 253 && text.split('.').every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label))
const isIpv4 = (text) => /^\d+(\.\d+){3}$/.test(text) && text.split('.').every((part) => part < 256 && `${+part}` === part)
const canParse = (text) => {
  try {
    return !!new URL(text)
  } catch {
    return false
  }
}
const isIpv6 = (text) => text.includes(':') && canParse(`http://[${text}]/`)
const isEmail = (text) => {
  const at = text.lastIndexOf('@')
  return /^[^\s@"(),:;<>[\\\]]{1,64}$/.test(text.slice(0, at)) && !/^\.|\.\.|\.$/.test(text.slice(0, at)) &&
    text.slice(at + 1).includes('.') && isHost(text.slice(at + 1))
}
const formats = {
  date: isDate,
  time: isTime,
  'date-time': (text) => text[10] === 'T' && isDate(text.slice(0, 10)) && isTime(text.slice(11)),
  duration: /^P(?!$)((\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?|(\d+W)?)$/,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
  email: isEmail,
  hostname: isHost,
  ipv4: isIpv4,
  ipv6: isIpv6,
  uri: (text) => /^[a-z][a-z0-9+.-]*:[\w.~!$&'()*+,;=:@/?#%-]*$/i.test(text) && !/%(?![0-9a-f]{2})/i.test(text),
}

let complete = 0
let wrong = 0
const lines = readFileSync(process.argv[2], 'utf8').split('\n').filter((line) => line)
for (const line of lines) {
  const sample = JSON.parse(line)
  if (!sample.complete) continue
  ++complete
  const validate = new Ajv2020({ strict: false, formats }).compile(sample.schema)
  let problem = null
  try {
    if (!validate(JSON.parse(sample.text))) problem = JSON.stringify(validate.errors)
  } catch (error) {
    problem = String(error)
  }
  if (problem === null) continue
  ++wrong
  console.error(`INVALID ${problem}\n  ${sample.text}\n  ${JSON.stringify(sample.schema)}`)
}
console.log(`${lines.length} schemas, ${complete} complete texts, ${complete - wrong} of them valid`)
if (complete < lines.length / 2) console.error('too few texts are complete')
process.exit(wrong === 0 && complete >= lines.length / 2 ? 0 : 1)
