# How many round trips of a 64-byte ping-pong take longer than so much.
if (system("[ -s latency.dat ] && echo y") eq "") exit
set terminal pngcairo size 1200,700 font "sans,11"
set output "latency.png"
set title "64-byte ping-pong, two CPUs, all rounds"
set logscale xy
set xlabel "us"
set ylabel "part of the round trips that take longer"
set yrange [1e-5:1]
set ytics ("all" 1, "half" 0.5, "10%%" 0.1, "1%%" 0.01, "0.1%%" 0.001, "0.01%%" 0.0001, "0.001%%" 0.00001)
set grid
set key outside right autotitle columnhead
stats "latency.dat" nooutput
plot for [i=0:STATS_blocks-2] "latency.dat" index i using 1:2 with steps lw 2 dt 1 + i / 8 \
	title columnheader(1)
