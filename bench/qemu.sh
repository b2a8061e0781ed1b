#!/bin/sh
# A stand-in for QEMU: prints "reached", and keeps running with the tap until its standard input ends.
echo reached
read -r _
