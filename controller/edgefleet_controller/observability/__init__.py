"""What the controller tells about itself: metrics, log lines with identifiers, traces."""
