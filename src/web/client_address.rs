//! Whose address a request carries, by the rightmost-trusted walk (I4).
