//! The report as text: what must not be in it, and how large it may be. What it does in a browser: `browser.rs`.

mod hostile;
