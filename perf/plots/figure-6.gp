# The paper's figure 6: time for its three files, with and without. Run in the
# folder of results; files.dat is made by `report make`.
if (system("[ -s files.dat ] && echo y") eq "") exit
set terminal pngcairo size 1500,620 font "sans,11"
set output "figure-6.png"
set datafile missing "-"
set key autotitle columnhead
set style fill solid 0.8
set boxwidth 0.7
set xtics rotate by 40 right nomirror
set grid ytics
set ylabel "ms from connect() to the last byte"
set bmargin 11
set rmargin 2
# Three columns for each name in quotes in the first line
files = int(system("sed -n 1p files.dat | tr -cd '\"' | wc -c")) / 2
set multiplot layout 1,files title "Files at a round trip of 50 ms (median, quartiles)"
do for [i=1:files] {
	c = 3 * i - 1
	# The first line is plain TCP.
	set yrange [*:*]
	stats "files.dat" using c every ::0::0 nooutput
	plain = STATS_min
	stats "files.dat" using (column(c+2)) nooutput
	high = STATS_max > plain + 55 ? STATS_max : plain + 55
	set yrange [0:1.25*high]
	set title system(sprintf("sed -n 1p files.dat | cut -d'\"' -f%d", 2 * i))
	set key top left Left reverse
	plot "files.dat" using 0:c:xtic(1) with boxes lc rgb "#4477aa" notitle, \
		"" using 0:c:(column(c+1)):(column(c+2)) with yerrorbars lc rgb "black" pt 7 ps 0.3 notitle, \
		plain with lines lc rgb "#228833" lw 2 title "plain TCP", \
		plain + 55 with lines lc rgb "#cc3311" lw 2 dt 2 \
			title "plain TCP + 55 ms (the paper)"
}
unset multiplot
