// Goes on once every app was told, or had its time: the window's `load` waits for the frames.
const told = new Promise((resolve) => addEventListener('load', resolve))
const patience = new Promise((resolve) => setTimeout(resolve, 2000))
await Promise.race([told, patience])
location.replace(document.getElementById('next').href)
