"""What benchmarks/ and tests/ share."""

pytest_plugins = ["pytester"]
