const state = await (await fetch('/control/state')).json()
document.getElementById('state').textContent = JSON.stringify(state, null, 2)
