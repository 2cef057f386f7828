//! Forwarding over real sockets: a browser and an upstream that say exactly what a test wants.

mod stage;

mod answers;
mod connections;
mod reach;
mod upgrades;
mod uploads;
