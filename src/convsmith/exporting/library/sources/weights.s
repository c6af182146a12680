    .section .rodata
    .p2align 6
    .globl net_weights
    .hidden net_weights
net_weights:
    .incbin "weights.bin"
    .section .note.GNU-stack,"",@progbits
