package kernel

var ExactFMA32 = exactFMA32
