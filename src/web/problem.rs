//! Problem details (RFC 9457) and the readable page for navigations.
