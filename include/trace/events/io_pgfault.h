/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O page faults, from report to response
 *
 * See Documentation/admin-guide/iopf.rst for what to do with them.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM io_pgfault

#if !defined(_TRACE_IO_PGFAULT_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IO_PGFAULT_H

#include <linux/io-pgfault.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(IOPF_DROP_RESERVE);
TRACE_DEFINE_ENUM(IOPF_DROP_OVERFLOW);
TRACE_DEFINE_ENUM(IOPF_DROP_FLUSH);
TRACE_DEFINE_ENUM(IOPF_DROP_DETACH);
TRACE_DEFINE_ENUM(IOPF_DROP_REMOVE);
TRACE_DEFINE_ENUM(IOPF_DROP_FORGET);

#define show_iopf_drop(why)				\
	__print_symbolic(why,				\
		{ IOPF_DROP_RESERVE,	"reserve" },	\
		{ IOPF_DROP_OVERFLOW,	"overflow" },	\
		{ IOPF_DROP_FLUSH,	"flush" },	\
		{ IOPF_DROP_DETACH,	"detach" },	\
		{ IOPF_DROP_REMOVE,	"remove" },	\
		{ IOPF_DROP_FORGET,	"forget" })

#define show_iopf_code(code)				\
	__print_symbolic(code,				\
		{ 0,	"success" },			\
		{ 1,	"invalid" },			\
		{ 2,	"failure" })

#define show_iopf_perm(perm)				\
	__print_flags(perm, "|",			\
		{ IOMMU_FAULT_PERM_READ,	"r" },	\
		{ IOMMU_FAULT_PERM_WRITE,	"w" },	\
		{ IOMMU_FAULT_PERM_EXEC,	"x" },	\
		{ IOMMU_FAULT_PERM_PRIV,	"p" })

/* A request came in. */
TRACE_EVENT(iopf_report,
	TP_PROTO(const char *name, const struct iommu_fault_page_request *prm),
	TP_ARGS(name, prm),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u64, addr)
		__field(u32, pasid)
		__field(u32, grpid)
		__field(u32, perm)
		__field(u32, flags)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->addr = prm->addr;
		__entry->pasid = prm->pasid;
		__entry->grpid = prm->grpid;
		__entry->perm = prm->perm;
		__entry->flags = prm->flags;
	),
	TP_printk("dev=%s pasid=%u group=%u addr=%#llx perm=%s last=%u",
		  __get_str(name), __entry->pasid, __entry->grpid,
		  __entry->addr, show_iopf_perm(__entry->perm),
		  !!(__entry->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE))
);

/* A last request closed a group of @count requests. */
TRACE_EVENT(iopf_group,
	TP_PROTO(const char *name, const struct iommu_fault_page_request *prm,
		 unsigned int count),
	TP_ARGS(name, prm, count),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u64, addr)
		__field(u32, count)
		__field(u32, pasid)
		__field(u32, grpid)
		__field(u32, perm)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->addr = prm->addr;
		__entry->count = count;
		__entry->pasid = prm->pasid;
		__entry->grpid = prm->grpid;
		__entry->perm = prm->perm;
	),
	TP_printk("dev=%s pasid=%u group=%u addr=%#llx perm=%s count=%u",
		  __get_str(name), __entry->pasid, __entry->grpid,
		  __entry->addr, show_iopf_perm(__entry->perm),
		  __entry->count)
);

/* A page of a group was resolved, or not. */
TRACE_EVENT(iopf_resolve,
	TP_PROTO(const char *name, const struct iommu_fault_page_request *prm,
		 unsigned int code),
	TP_ARGS(name, prm, code),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u64, addr)
		__field(u32, pasid)
		__field(u32, grpid)
		__field(u32, perm)
		__field(u32, code)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->addr = prm->addr;
		__entry->pasid = prm->pasid;
		__entry->grpid = prm->grpid;
		__entry->perm = prm->perm;
		__entry->code = code;
	),
	TP_printk("dev=%s pasid=%u group=%u addr=%#llx perm=%s code=%s",
		  __get_str(name), __entry->pasid, __entry->grpid,
		  __entry->addr, show_iopf_perm(__entry->perm),
		  show_iopf_code(__entry->code))
);

/* A group is being answered. */
TRACE_EVENT(iopf_respond,
	TP_PROTO(const char *name, const struct iommu_fault_page_request *prm,
		 unsigned int code, u64 latency),
	TP_ARGS(name, prm, code, latency),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u64, addr)
		__field(u64, latency)
		__field(u32, pasid)
		__field(u32, grpid)
		__field(u32, perm)
		__field(u32, code)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->addr = prm->addr;
		__entry->latency = latency;
		__entry->pasid = prm->pasid;
		__entry->grpid = prm->grpid;
		__entry->perm = prm->perm;
		__entry->code = code;
	),
	TP_printk("dev=%s pasid=%u group=%u addr=%#llx perm=%s code=%s latency_ns=%llu",
		  __get_str(name), __entry->pasid, __entry->grpid,
		  __entry->addr, show_iopf_perm(__entry->perm),
		  show_iopf_code(__entry->code), __entry->latency)
);

/* Requests that nobody will answer were thrown away. */
TRACE_EVENT(iopf_drop,
	TP_PROTO(const char *name, u64 key, unsigned int count,
		 unsigned int why),
	TP_ARGS(name, key, count, why),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, pasid)
		__field(u32, grpid)
		__field(u32, count)
		__field(u32, why)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->pasid = (key >> 32) & 0xfffff;
		__entry->grpid = key;
		__entry->count = count;
		__entry->why = why;
	),
	TP_printk("dev=%s pasid=%u group=%u requests=%u why=%s",
		  __get_str(name), __entry->pasid, __entry->grpid,
		  __entry->count, show_iopf_drop(__entry->why))
);

/* A flush has ended that had to wait for @found groups. */
TRACE_EVENT(iopf_flush,
	TP_PROTO(const char *name, u32 pasid, unsigned int found),
	TP_ARGS(name, pasid, found),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, pasid)
		__field(u32, found)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->pasid = pasid;
		__entry->found = found;
	),
	TP_printk("dev=%s pasid=%d groups=%u", __get_str(name),
		  (int)__entry->pasid, __entry->found)
);

#endif /* _TRACE_IO_PGFAULT_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
