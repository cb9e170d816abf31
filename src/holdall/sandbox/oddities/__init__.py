"""What servers that call themselves compatible were seen to do, each as a switch; applied around the true endpoints."""
