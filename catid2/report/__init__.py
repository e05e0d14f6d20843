"""The report: one table over all locales, and one page that needs nothing but itself.

inputs      reads the stages' tables, checked
tables      results/locales.tsv
categories  how the products of each category spread over the codes of a layer
examples    products that share the beginning of their DocID
svg         one look for all figures; as files, or inline in the page's colours
figures     how recall, categories by layer and training curves are drawn
panels      the figures from the tables: panels for the page, files for one dataset
sections    what each section of the page holds
provenance  versions and commit that the page was made with
page        results/report.html
"""
