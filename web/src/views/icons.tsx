// Line icons on a grid of 24, drawn for this page.
import type { JSX } from 'preact'

const paths = {
  plus: 'M12 5v14M5 12h14',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM20 20l-4-4',
  menu: 'M4 7h16M4 12h16M4 17h10',
  send: 'M12 19V5M5.500 11.500 12 5l6.500 6.500',
  stop: 'M7 7h10v10H7z',
  retry: 'M4 12a8 8 0 1 1 2.500 5.800M4 19v-4.500h4.500',
  edit: 'M4 20l1-4.500L16 4.500l3.500 3.500L8.500 19z',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  check: 'M5 12.500l4.500 4.500L19 7.500',
  trash: 'M5 7h14M10 7V4.500h4V7M7 7l1 13h8l1-13',
  sliders: 'M4 8h9M17 8h3M4 16h3M11 16h9M13 5.500v5M7 13.500v5',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2.500M12 19.500V22M2 12h2.500M19.500 12H22M5 5l1.700 1.700M17.300 17.300 19 19M19 5l-1.700 1.700M6.700 17.300 5 19',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z',
  half: 'M12 3.500a8.500 8.500 0 1 0 0 17zM12 3.500a8.500 8.500 0 0 1 0 17',
  chip: 'M7 7h10v10H7zM10 3.500V7M14 3.500V7M10 17v3.500M14 17v3.500M3.500 10H7M3.500 14H7M17 10h3.500M17 14h3.500',
  layers: 'M12 4 3.500 8.500 12 13l8.500-4.500zM4 13l8 4.300L20 13',
  clip: 'M19 11.500 12 18.500a4.500 4.500 0 0 1-6.400-6.400l7.500-7.500a3 3 0 0 1 4.300 4.300L10 16.300a1.500 1.500 0 0 1-2.100-2.100L14.500 7.500',
  left: 'M14.500 6l-6 6 6 6',
  right: 'M9.500 6l6 6-6 6',
  down: 'M6 9.500l6 6 6-6',
  close: 'M6 6l12 12M18 6 6 18',
  file: 'M6 3.500h8l4 4v13H6zM14 3.500v4h4',
  bulb: 'M9.500 20h5M9 16.500c0-2-3-3.200-3-7a6 6 0 0 1 12 0c0 3.800-3 5-3 7z',
  tool: 'M14.500 6.500a4 4 0 0 1 5.300-1.300L17 8l1 1 2.800-2.800A4 4 0 0 1 15 11l-7.500 8a2 2 0 0 1-3-2.700z',
  lock: 'M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3',
  keyboard: 'M3 7h18v11H3zM7 11h.01M11 11h.01M15 11h.01M8 14.500h8',
} satisfies Record<string, string>

export type IconName = keyof typeof paths

export function Icon({ name, size = 20 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill={name === 'stop' ? 'currentColor' : 'none'}
      stroke="currentColor"
      stroke-width="1.7"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={paths[name]} />
    </svg>
  )
}

/** The mark: a hearth and its fire. */
export function Mark({ size = 28 }: { size?: number }): JSX.Element {
  return (
    <svg class="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path
        class="mark-arch"
        d="M4 29V15.500C4 8.600 9.400 3 16 3s12 5.600 12 12.500V29h-5V16c0-4.400-3.100-8-7-8s-7 3.600-7 8v13z"
      />
      <path
        class="mark-fire"
        d="M16.300 12.500c.6 3.200 4.700 5.200 4.700 9.700 0 3.800-2.300 6.800-5 6.800s-5-2.700-5-6.300c0-2.500 1.400-4.200 2.600-5.500.2 1.300.7 2.200 1.400 2.700-.2-2.700.1-5.200 1.300-7.400z"
      />
    </svg>
  )
}
