const { message } = document.getElementById('said').dataset
new BroadcastChannel('bff-login').postMessage(JSON.parse(message))
const button = document.getElementById('close')
button.hidden = false
button.addEventListener('click', () => window.close())
window.close()
