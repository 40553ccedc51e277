"""The show as text: lines for the scrolling view, and the full-screen view."""
