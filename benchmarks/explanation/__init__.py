"""What pre-training changes in what a network looks at."""
