"""What Snakemake asks: which settings, files and options a job gets."""
