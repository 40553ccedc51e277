"""Readers of conversation logs and chat datasets: Claude Code, Codex, Cline, Aider, ChatGPT, ShareGPT, OpenAI and Alpaca."""
