"""How the node is, for whoever watches it: metrics, health, readiness, and systemd's watchdog."""
