"""A sweep as one page to keep and to send on: HTML that needs no network, Markdown, and pictures."""
