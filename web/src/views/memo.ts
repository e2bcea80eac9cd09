// React's memo() without the compatibility layer.
import { Component, type FunctionComponent, h } from 'preact'

/** Lists are the same when their members are. */
function same(one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((member, index) => member === other[index])
  return Object.is(one, other)
}

export function memo<Properties extends object>(view: FunctionComponent<Properties>): FunctionComponent<Properties> {
  class Memo extends Component<Properties> {
    shouldComponentUpdate(next: Readonly<Properties>): boolean {
      const now = this.props as Record<string, unknown>
      const later = next as Record<string, unknown>
      return [...Object.keys(now), ...Object.keys(later)].some((name) => !same(now[name], later[name]))
    }
    render() {
      return h(view, this.props as Properties)
    }
  }
  return Memo as unknown as FunctionComponent<Properties>
}
