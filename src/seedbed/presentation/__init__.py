"""What front ends share: texts about runs, logs, curves, possible actions, filters, and forms; no terminal and no page."""
