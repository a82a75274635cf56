# Bulk with 1, 4 and 64 connections.
if (system("[ -s bulk.dat ] && echo y") eq "") exit
set terminal pngcairo size 1200,640 font "sans,11"
set output "throughput.png"
set title "Bulk (iperf3; median, quartiles)"
set datafile missing "-"
set key autotitle columnhead top right
set style data histogram
set style histogram errorbars gap 1 lw 1
set style fill solid 0.8
set xtics rotate by 40 right nomirror
set grid ytics
set ylabel "Gbit/s"
set yrange [0:*]
set bmargin 11
# Three columns for each name in quotes in the first line
plots = int(system("sed -n 1p bulk.dat | tr -cd '\"' | wc -c")) / 2
plot for [c=2:3 * plots:3] "bulk.dat" using c:(column(c+1)):(column(c+2)):xtic(1) \
	title columnheader(c)
