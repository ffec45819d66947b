/* SPDX-License-Identifier: BSD-2-Clause */
/* test/vectors/lisp-data.txt, which the tests of the in-process plane read as well; the file says what its records are. */
#include "site.h"

static struct lisp_tables tables;

static unsigned
cause_named(const char *name)
{
	unsigned i;

	for (i = 0; i < LISP_DROP_COUNT; i++)
		if (strcmp(lisp_drop_name(i), name) == 0)
			return (i);
	return (LISP_DROP_COUNT);
}

static void
site_line(const char *kind, const char *what, char *rlocs)
{
	struct lisp_prefix prefix;

	if (strcmp(kind, "rloc") == 0) {
		struct lisp_addr all[LISP_MAX_LOCAL_RLOCS];
		unsigned count = tables.nrlocs;

		memcpy(all, tables.rlocs, sizeof(all));
		all[count] = A(what);
		CHECK_EQUAL(lisp_tables_set_rlocs(&tables, all, count + 1), 0);
	} else if (strcmp(kind, "eid") == 0) {
		prefix = P(what);
		CHECK_EQUAL(lisp_tables_add_eid(&tables, 0, &prefix), 0);
	} else {
		const char *list[LISP_MAX_LOCATORS];
		int count = 0;
		char *one;

		for (one = strtok(rlocs, ","); one != NULL; one = strtok(NULL, ","))
			if (strcmp(one, "-") != 0)
				list[count++] = one;
		add_mapping(&tables, what, 0, count, list, even_priorities, even_weights);
	}
}

static void
outcome(const char *name, enum lisp_verdict verdict, enum lisp_drop cause, const char *want, const unsigned char *is, size_t length)
{
	size_t expected;
	unsigned char *bytes;
	int before = tap_bad;

	if (strcmp(want, "miss") == 0)
		CHECK_EQUAL(verdict, LISP_MISS);
	else if (strncmp(want, "drop:", 5) == 0) {
		CHECK_EQUAL(verdict, LISP_DROP);
		CHECK_EQUAL(cause, cause_named(want + 5));
	} else {
		CHECK_EQUAL(verdict, LISP_FORWARD);
		bytes = unhex(want, &expected);
		CHECK_EQUAL(length, expected);
		if (length == expected)
			CHECK_BYTES(is, bytes, length);
		free(bytes);
	}
	if (tap_bad != before)
		printf("# in %s\n", name);
}

static void
lisp_data_vectors(void)
{
	struct lisp_limits limits = { 100, 100, 100, 100, 100 };
	char line[4096], kind[16], name[64], field[5][1400];
	FILE *file = fopen(VECTORS "/lisp-data.txt", "r");
	unsigned records = 0;

	CHECK(file != NULL);
	CHECK_EQUAL(lisp_tables_init(&tables, &limits, 1), 0);
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		size_t length;
		int fields;

		if (line[0] == '#' || line[0] == '\n')
			continue;
		memset(field, 0, sizeof(field));
		fields = sscanf(line, "%15s %63s %1399s %1399s %1399s %1399s %1399s", kind, name, field[0], field[1], field[2],
		    field[3], field[4]);
		if (strcmp(kind, "encap") == 0 && fields == 4) {
			unsigned char *packet = unhex(field[0], &length), wire[2048];
			struct lisp_inner inner;
			struct lisp_encap_plan plan;

			lisp_encap_packet(&tables, 0, packet, length, length, 0, &inner, &plan);
			if (plan.verdict == LISP_FORWARD) {
				lisp_encap_write_lisp(&plan, wire);
				memcpy(wire + LISP_HEADER_SIZE, packet, length);
			}
			outcome(name, plan.verdict, plan.cause, field[1], wire, LISP_HEADER_SIZE + length);
			free(packet);
		} else if (strcmp(kind, "decap") == 0 && fields == 7) {
			/* source, local, tos, ttl, payload and outcome, the latter the last on the line */
			char *want = strrchr(line, ' ') + 1;
			unsigned char *payload = unhex(field[4], &length);
			struct lisp_outer outer;
			struct lisp_decap_plan plan;

			want[strcspn(want, "\n")] = '\0';
			memset(&outer, 0, sizeof(outer));
			outer.src = A(field[0]);
			outer.dst = A(field[1]);
			outer.tos = (uint8_t)atoi(field[2]);
			outer.ttl = (uint8_t)atoi(field[3]);
			lisp_decap_decide(&tables, &outer, payload, length, length, 0, &plan);
			if (plan.verdict == LISP_FORWARD)
				lisp_decap_apply(&plan, payload + LISP_HEADER_SIZE);
			outcome(name, plan.verdict, plan.cause, want, payload + LISP_HEADER_SIZE, plan.inner.length);
			free(payload);
		} else {
			CHECK(fields == 2 || fields == 3);
			site_line(kind, name, field[0]);
			continue;
		}
		records++;
	}
	CHECK(records > 30);
	if (file != NULL)
		fclose(file);
	lisp_tables_fini(&tables);
}

int
main(void)
{
	TEST(lisp_data_vectors);
	DONE();
}
