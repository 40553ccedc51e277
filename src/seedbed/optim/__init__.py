"""How parameters move: AdamW, Muon, schedules. Refuses to know what the parameters compute."""
