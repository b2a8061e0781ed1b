"""Files that guests and containers boot from."""
