"""Bad days: what is done to requests and answers of the service on purpose, from outside."""
