"""The SMS channel: SMPP link, reply grammar, texts, sending rules. Not built yet; its place in the layers is kept."""
