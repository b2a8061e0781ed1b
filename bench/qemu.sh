#!/bin/sh
# Stands where QEMU would: says that it has been reached, and stays, tap and all, until its standard
# input ends.
echo reached
read -r _
