# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154
# scripts/mutate: what it changes, what it counts, and that the tree is whole.

# A program whose test does not look at everything.
make_program() {
	mkdir -p tree
	cat >tree/sum.c <<-'END'
	#include <stdbool.h>
	/* if (not) code; */
	static int said;

	static bool is_even(int n)
	{
		return n % 2 == 0;
	}

	static int sum_of_even(const int *n, int count)
	{
		const char *text = "a; b(); { if (c)";
		int sum = 0, i;

		for (i = 0; i < count; i++)
			if (is_even(n[i]))
				sum += n[i];
		said = text[0];
		return sum;
	}

	int main(void)
	{
		int n[] = { 1, 2, 4 };

		return sum_of_even(n, 3) != 6;
	}
	END
}

mutate() {
	"$scripts/mutate" --tree tree --out out \
		--build 'gcc -Werror=maybe-uninitialized -o prog tree/sum.c' \
		--test run=./prog "$@"
}

test_mutate_lists_statements_and_conditions() {
	make_program
	same "$(mutate --list sum.c | sort)" "$(printf '%s\n' \
		'sum.c:16: invert is_even(n[i])' \
		"sum.c:17: delete sum += n[i];" \
		"sum.c:18: delete said = text[0];" \
		'sum.c:7: invert n % 2 == 0')"
}

test_mutate_counts_what_survives() {
	local before
	make_program
	before=$(cat tree/sum.c)
	fails_with '3 of 4 noticed, 75 %; 0 more do not compile' mutate sum.c
	same "$(cat tree/sum.c)" "$before"
	contains "$(mutate sum.c || true)" \
		'  sum.c:18: delete said = text[0];'
	contains "$(mutate --goal 75 sum.c)" '75 %'
}

test_mutate_goes_on_where_it_was() {
	make_program
	mutate -n 2 --goal 0 sum.c >first
	cp out/results.tsv known
	rm prog
	same "$(mutate -n 2 --goal 0 sum.c)" "$(cat first)"
	[[ ! -e prog ]]
	contains "$(mutate --goal 0 sum.c)" '3 of 4'
	same "$(head -n 4 out/results.tsv)" "$(cat known)"
}

test_mutate_begins_a_changed_file_anew() {
	make_program
	mutate --goal 0 sum.c:16-16 >first
	sed -i 's/said = /said += /' tree/sum.c
	rm prog
	mutate --goal 0 sum.c:16-16 >second
	[[ -e prog ]]
}

test_mutate_chooses_by_seed() {
	make_program
	same "$(mutate --list --seed 7 sum.c)" "$(mutate --list --seed 7 sum.c)"
	same "$(mutate --list --seed 7 -n 2 sum.c)" \
	     "$(mutate --list --seed 7 sum.c | head -n 2)"
}

test_mutate_counts_what_does_not_compile_apart() {
	make_program
	sed -i 's/int sum = 0, i;/int sum, i;\n\tsum = 0;/' tree/sum.c
	contains "$(mutate --goal 0 --build 'gcc -O2 -Wall -Werror -o prog tree/sum.c' \
		sum.c || true)" '2 more do not compile'
}

test_mutate_refuses_a_test_that_always_fails() {
	make_program
	fails_with 'nothing is broken, and yet' mutate --test run=false sum.c
}

test_mutate_knows_its_places() {
	make_program
	same "$(mutate --list sum.c:17-17)" 'sum.c:17: delete sum += n[i];'
	fails_with 'No such file' mutate --list nothing.c
}
