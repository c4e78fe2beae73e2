"""What an estimate is worth: degrees of freedom, tests, intervals, reliabilities."""
