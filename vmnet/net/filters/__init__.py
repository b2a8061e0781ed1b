"""Packet filters in classic BPF for taps, bridges and uplinks."""
