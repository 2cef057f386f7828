//! One request, start to end.
