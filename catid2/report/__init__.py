"""The report: one table over all locales, and one page that needs nothing but itself."""
