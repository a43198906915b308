"""The lab: three bare machines, a home router and a small internet, all in one."""
