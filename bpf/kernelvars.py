"""Variables of a 7.3.4 kernel (Debian's) that a program may refer to, as that kernel's BTF lists them; all are per-CPU ones.

An ld_imm64 with src BPF_PSEUDO_BTF_ID names one by the number of its type. Left out are variables whose type has no name (pointers,
arrays), and those of structs of which nothing else here knows the members.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class KernelVar:
    """name; type: as C names it, without "struct"; size: bytes; struct: whether it is one; number: in the kernel's BTF."""

    number: int
    name: str
    type: str
    size: int
    struct: bool


# type and bytes, then the variables with their numbers
_TABLE: Final = """
unsigned int 4: __percpu_rwsem_rc_bp_cpuinfo_sem=57467 __percpu_rwsem_rc_cgroup_threadgroup_rwsem=57468
    __percpu_rwsem_rc_cpu_hotplug_lock=57469 __percpu_rwsem_rc_dup_mmap_sem=57470 __percpu_rwsem_rc_file_rwsem=57471
    __percpu_rwsem_rc_global_ctx_data_rwsem=57472 __percpu_rwsem_rc_kclist_lock=57473 __percpu_rwsem_rc_mem_hotplug_lock=57474
    __percpu_rwsem_rc_scx_cgroup_ops_rwsem=57475 __percpu_rwsem_rc_scx_fork_rwsem=57476 cpufreq_thermal_reduction_step=72922
    current_bit_idx=73922 current_word_idx=73950 irq_epoch=89342 last_ino=91290 mce_num_banks=92374 nbcon_pcpu_emergency_nesting=94370
    nmi_rearmed=95621 nop_txn_flags=95739 tcp_orphan_count=111442
long unsigned int 8: __preempt_count=57559 __stack_chk_guard=58905 _cea_offset=60790 arch_freq_scale=64315 cpu_current_top_of_stack=72617
    cpu_dr7=72637 cpu_loops_per_jiffy=72689 cpu_scale=72736 cpufreq_pressure=72896 fred_rsp0=81745 irqsave_flags=89519 kvm_apic_eoi=91000
    last_nmi_rip=91293 local_interrupt_disable_state=91524 mce_next_interval=92372 nmi_cr2=95613 nmi_dr7=95615 nr_inodes=95816
    nr_unused=95835 pending_timer_softirq=98531 perf_nmi_tstamp=98834 process_counts=101416 this_cpu_off=112019
    timekeeping_mg_floor_swaps=112221 watchdog_report_ts=119169 watchdog_touch_ts=119172 xen_cr0_value=119889 xen_cr3=119890
    xen_current_cr3=119895 xen_mc_irq_flags=120051
u16 2: __softirq_pending=58889
struct cpumask 1024: __tmp_mask=59078
bool 1: __tss_limit_invalid=60054 async_pf_enabled=64680 cache_state_incoherent=70481 guest_ctx_loaded=84040 guest_lvtpc_loaded=84042
    hardirq_stack_inuse=84148 kernel_fpu_allowed=89998 softlockup_touch_sync=109470 swallow_nmi=110221 trace_taskinfo_save=116003
    watchdog_hardlockup_touched=119165 watchdog_hardlockup_warned=119166 x86_ibpb_exit_to_user=119539 xen_cpu_lazy_mode=119882
u64 8: __x86_call_depth=60700 bank_map=65178 discard_pa_seq=76515 msr_misc_features_shadow=94048 perf_throttled_seq=98927
    root_cpuacct_cpuusage=104265 running_sample_length=104791 spec_ctrl=109543 svsm_caa_pa=110203 x86_spec_ctrl_current=119638
    xfd_state=120443
int 4: bdp_ratelimits=65278 bpf_bprintf_nest_level=66251 bpf_event_output_nest_level=66554 bpf_prog_active=68017
    bpf_raw_tp_nest_level=68163 bpf_trace_nest_level=68627 cpu_number=72715 cpu_pcc_subspace_idx=72722 dirty_throttle_leaks=76455
    disable_stack_tracer=76499 distribute_cpu_mask_prev=76590 ftrace_stack_reserve=82524 hist_pad_cnt=84287
    hrtimer_interrupts_missed=84577 hrtimer_interrupts_saved=84578 lock_kicker_irq=91545 numa_node=95957 perf_sched_cb_usages=98904
    perf_throttled_count=98926 printk_context=100988 printk_pending=101003 sched_core_priority=105467 sd_llc_id=106176 sd_llc_size=106178
    sd_share_id=106181 tcp_memory_per_cpu_fw_alloc=111417 trace_buffered_event_cnt=113092 udp_memory_per_cpu_fw_alloc=116954
    user_stack_count=117695 virtualization_nr_users=118350 wq_rr_cpu_last=119347 x86_cpu_to_node_map=119505
struct llist_head 8: blk_cpu_done=65545 call_single_queue=70608 lazy_list=91311 raised_list=102577 rstat_backlog_list=104465
struct list_head 16: blk_cpu_iopoll=65546 sched_cb_list=105441
struct mutex 24: cpu_access_lock=72575 membarrier_cpu_mutexes=92530
struct irq_work 32: irq_work_NMI_resume=89490 nohz_full_kick_work=95699 wake_up_klogd_work=119042
ktime_t 8: last_timestamp=91294
struct work_struct 32: lru_add_drain_work=91721
struct timer_list 40: mce_timer=92395
long int 8: mg_ctime_swaps=92860 mg_ctime_updates=92861 mg_fine_stamps=92863 nr_dentry=95801 nr_dentry_negative=95802
    nr_dentry_unused=95803 stimer0_evt=109907 vmbus_evt=118604
nmi_states 4: nmi_state=95624
struct pt_regs 168: nmi_user_regs=95630
u8 1: printk_count=100989 printk_count_nmi=100990 saved_epb=105325
struct hlist_head 8: return_notifier_list=104017
__u32 4: taskstats_seqnum=110967
u32 4: unwind_ctx_ctr=117413 x86_cpu_to_acpiid=119503 x86_cpu_to_apicid=119504
struct hrtimer 80: watchdog_hrtimer=119167
uint32_t 4: xen_vcpu_id=120254
"""


def _read(table: str) -> dict[int, KernelVar]:
    found: dict[int, KernelVar] = {}
    made, size, struct = "", 0, False
    for line in table.strip().splitlines():
        words = line
        if ":" in line:
            head, words = line.split(":")
            struct = head.startswith("struct ")
            made, _, last = head.removeprefix("struct ").rpartition(" ")
            size = int(last)
        for word in words.split():
            name, number = word.split("=")
            found[int(number)] = KernelVar(int(number), name, made, size, struct)
    return found


KERNEL_VARS: Final = _read(_TABLE)
SCALAR_SIZES: Final = {one.type: one.size for one in KERNEL_VARS.values() if not one.struct}
