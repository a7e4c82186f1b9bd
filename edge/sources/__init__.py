"""Where frames come from: stills, videos, the drawn flight and live feeds."""
