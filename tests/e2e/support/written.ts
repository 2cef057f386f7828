// What the README and docs/frontends.md tell people to write, taken out of them and put to work.

import { execFileSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const ROOT = resolve(import.meta.dirname, '../../..')
const MODULES = join(ROOT, 'tests/e2e/node_modules')
const REACT = join(ROOT, 'examples/react')

/** The files of docs/frontends.md, by the names in its comments. */
export async function documented(): Promise<Map<string, string>> {
  const text = await readFile(join(ROOT, 'docs/frontends.md'), 'utf8')
  const files = text.matchAll(/<!-- (?:file|policy): (\S+) -->\n```\w+\n(.*?)\n```/gs)
  return new Map([...files].map(([, name, body]) => [name!, body!]))
}

/** The component of the README. */
export async function readmeComponent(): Promise<string> {
  const found = /```tsx\n(.*?)```/s.exec(await readFile(join(ROOT, 'README.md'), 'utf8'))
  if (!found) throw new Error('the README has no component')
  return found[1]!.replaceAll(/^ {3}/gm, '')
}

/** A folder as a newcomer's: these files, and the ones that they are told to copy. */
export async function project(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bff-written-'))
  await mkdir(join(folder, 'src'))
  await symlink(MODULES, join(folder, 'node_modules'))
  for (const name of ['session.ts', 'useSession.ts', 'api.ts', 'useDraft.ts']) await cp(join(REACT, 'src', name), join(folder, 'src', name))
  for (const [name, body] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), body)
  }
  return folder
}

/** As strict as Vite's template, and a careful team. */
export function typeCheck(folder: string) {
  const strict = ['--verbatimModuleSyntax', '--erasableSyntaxOnly', '--noUnusedLocals', '--noUnusedParameters', '--strict', '--noEmit', '--skipLibCheck', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess']
  const kind = ['--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler', '--jsx', 'react-jsx', '--experimentalDecorators']
  const files = execFileSync('find', ['src', '-name', '*.ts', '-o', '-name', '*.tsx'], { cwd: folder, encoding: 'utf8' })
  try {
    execFileSync(join(MODULES, '.bin/tsc'), [...strict, ...kind, ...files.trim().split('\n')], { cwd: folder, encoding: 'utf8' })
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout)
  }
}

/** Vite's production build of the folder; where it lies. */
export async function build(folder: string): Promise<string> {
  const { build } = await import(pathToFileURL(join(REACT, 'node_modules/vite/dist/node/index.js')).href)
  // Vite's development server leaves its own word here, where one ran in this process before.
  process.env.NODE_ENV = 'production'
  await build({ root: folder, configFile: false, logLevel: 'error', build: { assetsInlineLimit: 0 }, resolve: { preserveSymlinks: true } })
  return join(folder, 'dist')
}

export const PAGE = '<!doctype html><html lang="en"><title>App</title><div id="root"></div><script type="module" src="/src/main.tsx"></script>'

/** Renders `./App`, as Vite's template does. */
export const MAIN = `import { createRoot } from 'react-dom/client'
import App from './App'
createRoot(document.getElementById('root')!).render(<App />)
`
