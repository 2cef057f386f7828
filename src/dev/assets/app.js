const answer = await fetch('/bff/session', { headers: { 'X-CSRF': '1' } })
document.getElementById('session').textContent = JSON.stringify(await answer.json(), null, 2)
