"""Drawing of curves: with Braille characters for terminals, as SVG for web pages."""
