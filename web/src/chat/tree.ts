// A conversation is a tree: a retry and an edit begin a branch beside the old one, which stays.
import type { ConversationDocument, Message } from '../types'

/** The branch in view, from the first message to the leaf. */
export function branch(document: ConversationDocument): Message[] {
  const byId = new Map(document.messages.map((message) => [message.id, message]))
  const path: Message[] = []
  const seen = new Set<string>()
  let message = document.leaf ? byId.get(document.leaf) : undefined
  while (message && !seen.has(message.id)) {
    seen.add(message.id)
    path.push(message)
    message = message.parent ? byId.get(message.parent) : undefined
  }
  return path.reverse()
}

/** The messages that follow the same one as `message`, itself among them, oldest first. */
export function alternatives(document: ConversationDocument, message: Message): Message[] {
  return document.messages.filter((other) => other.parent === message.parent)
}

/** The leaf that is reached from `id` by always taking the newest answer. */
export function newestLeaf(document: ConversationDocument, id: string): string {
  for (let steps = 0; steps <= document.messages.length; ++steps) {
    const children = document.messages.filter((message) => message.parent === id)
    if (!children.length) break
    id = children[children.length - 1].id
  }
  return id
}
