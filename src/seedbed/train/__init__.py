"""The only loop: loop, step, learner, hooks, horizon, seed. It never prints, opens a file, or asks who watches."""
