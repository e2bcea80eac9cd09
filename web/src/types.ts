// What the server says (src/serve/page_api.h) and what a conversation is made of.

export interface ModelInfo {
  name: string
  kind: 'chat' | 'completion' | 'embedding' | 'rerank'
  architecture: string
  type: string
  parameters: number
  file_bytes: number
  context: number
  loaded: boolean
  thinks: boolean
  tools: boolean
  fits: boolean | null
  note: string
  memory_bytes: number
  expected_prefill_tps: number | null
  expected_decode_tps: number | null
  measured_prefill_tps: number | null
  measured_decode_tps: number | null
}

export interface LoadedModel {
  name: string
  memory: { name: string; bytes: number }[]
  parallel: number
  context: number
  kv_type: string
  unload_in_seconds: number | null
  generating: number
  prefilling: number
  waiting: number
  prompt_tokens: number
  reused_tokens: number
  generated_tokens: number
  passes: number
  rows: number
  finished: number
  cancelled: number
  failed: number
  refused: number
  preempted: number
  kv_cells_used: number
  kv_cells: number
  prompt_seconds: number
  generate_seconds: number
}

export interface Status {
  version: string
  processor: string
  cores: number
  threads: number
  instruction_set: string
  memory_bytes: number
  memory_available_bytes: number
  process_bytes: number
  read_bytes_per_second: number
  uptime_seconds: number
  connections: number
  keeps_conversations: boolean
  models: LoadedModel[]
}

export interface ConversationSummary {
  id: string
  title: string
  model: string
  created: number
  updated: number
  revision: number
  snippet?: string
}

export interface Attachment {
  name: string
  text: string
}

/** How an answer went. Times in milliseconds. */
export interface AnswerStatistics {
  promptTokens?: number
  cachedTokens?: number
  tokens?: number
  firstToken?: number
  thinking?: number
  total?: number
  finish?: string
}

export interface Message {
  id: string
  parent: string | null
  role: 'user' | 'assistant'
  content: string
  created: number
  reasoning?: string
  attachments?: Attachment[]
  model?: string
  statistics?: AnswerStatistics
  error?: string
}

/** Sampling settings of a conversation; what is missing is left to the model and the server. */
export interface Settings {
  system?: string
  temperature?: number
  top_p?: number
  top_k?: number
  min_p?: number
  repeat_penalty?: number
  max_tokens?: number
  seed?: number
  thinking?: 'on' | 'off'
}

/** What is stored of a conversation: a tree of messages, and the leaf of the branch in view. */
export interface ConversationDocument {
  messages: Message[]
  leaf: string | null
  settings: Settings
}
