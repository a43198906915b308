"""Every screen and state as a picture; ``make screens`` renders them anew, for people to look at."""
