"""The sections of a report on models, in their order: opening, data, models, results, checks, appendix."""
