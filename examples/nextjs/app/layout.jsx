import { cookies } from 'next/headers'

export const metadata = { title: 'Orders', description: 'A server-rendered app behind bff' }

export default async function Layout({ children }) {
  // A cookie of this app's own; bff lets it pass since the route says set_cookie = "keep".
  const theme = (await cookies()).get('theme')?.value === 'dark' ? 'dark' : 'light'
  return (
    <html lang="en" data-theme={theme} style={{ colorScheme: theme }}>
      <body style={{ font: '1rem/1.5 system-ui, sans-serif', maxWidth: '40rem', margin: '2rem auto', padding: '0 1rem' }}>
        {children}
      </body>
    </html>
  )
}
